# Runs a command as the ordinary user for `background`, and keeps what it says and comes to.
. /etc/lab/library.sh
name=$1
shift
as_user sh -c 'echo $$ > "$0"; exec "$@"' "/run/lab/$name.pid" "$@" \
    > "/run/lab/$name.out" 2> "/run/lab/$name.err"
echo $? > "/run/lab/$name.status.partial"
mv "/run/lab/$name.status.partial" "/run/lab/$name.status"
