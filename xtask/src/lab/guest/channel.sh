# Serves the host's commands on the second serial port, one after the other: a script between the lines
# "RUN <id>" and "END <id>"; the answer is "DONE <id> <exit status> <bytes>" and that many bytes of output.
exec 3<> /dev/ttyS1
stty -F /dev/ttyS1 raw -echo
echo "READY" >&3
while IFS= read -r line <&3; do
    case "$line" in
    "RUN "*) ;;
    *) continue ;;
    esac
    id=${line#RUN }
    while IFS= read -r line <&3; do
        [ "$line" = "END $id" ] && break
        printf '%s\n' "$line"
    done > /run/lab/script
    sh -c '. /etc/lab/library.sh; . /run/lab/script' > /run/lab/output 2>&1 < /dev/null 3>&-
    status=$?
    echo "DONE $id $status $(stat -c %s /run/lab/output)" >&3
    cat /run/lab/output >&3
done
echo "ringway-lab: the command channel has closed"
poweroff -f
