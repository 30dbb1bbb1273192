#!/bin/sh
# What the airflow container does: `c360 airflow run`, as `make run` does it, then it stays while Airflow does.
# Told to stop, it ends what it started; should the first run fail, the container ends with its exit code.
set -eu
trap 'c360 airflow stop; exit 0' TERM INT

c360 airflow run &
wait $!

tail --follow=name --retry "$C360_HOME/airflow/logs/scheduler.log" &
wait $!
