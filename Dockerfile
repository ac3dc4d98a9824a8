# syntax=docker/dockerfile:1
# Facet's processes (facet-manage web, events, worker, beat, watch, simulate, migrate) in one image.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/facet
ENV PATH=/opt/facet/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.lock ./
RUN pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md ./
COPY platform platform
COPY tenants tenants
COPY scheduler scheduler
COPY infra infra
RUN pip install --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
ENV PATH=/opt/facet/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 FACET_HOME=/var/lib/facet
RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/facet --shell /usr/sbin/nologin facet \
    && install --directory --owner facet --group facet --mode 0700 /var/lib/facet /var/lib/facet/static
COPY --from=build /opt/facet /opt/facet
USER 10001
WORKDIR /var/lib/facet
VOLUME /var/lib/facet
EXPOSE 8800 8801
CMD ["facet-manage", "web"]
