#!/bin/bash
# Run once by the db service on an empty data folder: the three roles of Facet and its database.
# facet_owner owns the tables and migrates; facet_app is what web and workers log in as, bound by row-level security;
# facet_system is entered by SET LOCAL ROLE alone. The same statements as facet/embedded/postgres.py, with passwords.
set -euo pipefail
owner_password=$(< /run/secrets/owner_password)
app_password=$(< /run/secrets/app_password)
psql --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 \
  --set owner_password="$owner_password" --set app_password="$app_password" <<'SQL'
create role facet_owner login password :'owner_password';
create role facet_app login password :'app_password';
create role facet_system nologin;
grant facet_system to facet_app with inherit false, set true;
alter role facet_app set idle_in_transaction_session_timeout = '5s';
alter role facet_app set statement_timeout = '10s';
create database facet owner facet_owner;
SQL
