#!/bin/sh
# limited KIB COMMAND [ARGUMENT…]: runs it with that limit on locked memory.
ulimit -l "$1"
shift
exec "$@"
