# What each script of the lab may use.

# The ordinary user that drives the NICs.
LAB_USER=engineer

# as_user COMMAND [ARGUMENT…]: runs it as the ordinary user, who has no capability and can gain none.
# It may lock LAB_MEMLOCK KiB of memory.
LAB_MEMLOCK=262144
# Where there is Debian's own, which opens a session with PAM, then that one, by its path: the shell prefers its own.
LAB_SU=su
[ ! -x /usr/bin/su ] || LAB_SU=/usr/bin/su
as_user() {
    (
        ulimit -l "$LAB_MEMLOCK"
        exec "$LAB_SU" -s /bin/sh "$LAB_USER" -c 'exec setpriv --nnp "$@"' -- sh "$@"
    )
}

# background NAME COMMAND [ARGUMENT…]: the same, in the background. Its output goes to
# /run/lab/NAME.out and .err, its process id to .pid, its exit status, once it has ended, to .status.
# Not by the shell's "&", which would have it ignore SIGINT.
background() {
    rm -f "/run/lab/$1".*
    start-stop-daemon -S -b -p "/run/lab/$1.daemon" -x /bin/sh -- /etc/lab/background.sh "$@"
}

# await SECONDS COMMAND [ARGUMENT…]: tries the command ten times a second until it succeeds or time is up.
await() {
    tries=$(($1 * 10))
    shift
    while ! "$@" > /dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.1
    done
}

# said_or_ended NAME PATTERN: whether the background command has printed a line of that pattern, or ended.
said_or_ended() {
    grep -qE "$2" "/run/lab/$1.err" || grep -qE "$2" "/run/lab/$1.out" || [ -e "/run/lab/$1.status" ]
}

# signal NAME SIGNAL: sends a signal to the background command itself.
signal() {
    kill "-$2" "$(cat "/run/lab/$1.pid")"
}

# driver_of ADDRESS: the name of the driver that holds the function; nothing if there is none.
driver_of() {
    link=$(readlink "/sys/bus/pci/devices/$1/driver") && basename "$link"
}

# group_of ADDRESS: the number of the function's IOMMU group.
group_of() {
    basename "$(readlink "/sys/bus/pci/devices/$1/iommu_group")"
}

# give_to DRIVER ADDRESS: moves the function to the driver; an empty name lets the kernel choose.
give_to() {
    device=/sys/bus/pci/devices/$2
    [ ! -e "$device/driver" ] || echo "$2" > "$device/driver/unbind"
    echo "$1" > "$device/driver_override"
    echo "$2" > /sys/bus/pci/drivers_probe
}

# bind_for_user ADDRESS…: gives functions to vfio-pci, and their groups to the ordinary user.
bind_for_user() {
    ringway bind "$@" --user "$LAB_USER"
}

# bind_by_hand ADDRESS…: the same for what `ringway bind` refuses, so that it can be seen what opening says to it.
bind_by_hand() {
    # By its path: the shell prefers its own.
    /usr/local/bin/modprobe vfio-pci || return 1
    for address in "$@"; do
        give_to vfio-pci "$address"
        [ "$(driver_of "$address")" = vfio-pci ] || { echo "$address: not bound to vfio-pci"; return 1; }
        await 10 test -e "/dev/vfio/$(group_of "$address")" || { echo "$address: no group node"; return 1; }
        chown "$LAB_USER" "/dev/vfio/$(group_of "$address")"
    done
    chmod 666 /dev/vfio/vfio
}

# unbind ADDRESS…: gives functions back to the kernel's own drivers.
unbind() {
    ringway unbind "$@"
}

# unbind_by_hand ADDRESS…: takes back what bind_by_hand gave.
unbind_by_hand() {
    for address in "$@"; do
        give_to "" "$address" || return 1
    done
}

# interface_of ADDRESS: the name of the kernel's interface on that function.
interface_of() {
    ls -d /sys/bus/pci/devices/"$1"/net/* /sys/bus/pci/devices/"$1"/virtio*/net/* 2> /dev/null |
        sed 's|.*/||' | head -n 1
}

# has_interface ADDRESS: whether the kernel drives the function as a network interface.
has_interface() {
    [ -n "$(interface_of "$1")" ]
}

# bridge_of NAME ADDRESS…: joins the functions' interfaces by a bridge of the kernel, with no address.
bridge_of() {
    bridge=$1
    shift
    modprobe bridge
    ip link add "$bridge" type bridge || return 1
    echo 1 > "/proc/sys/net/ipv6/conf/$bridge/disable_ipv6"
    for address in "$@"; do
        await 20 has_interface "$address" || { echo "$address: no interface"; return 1; }
        interface=$(interface_of "$address")
        echo 1 > "/proc/sys/net/ipv6/conf/$interface/disable_ipv6"
        ip link set "$interface" master "$bridge" && ip link set "$interface" up promisc on || return 1
    done
    ip link set "$bridge" up
}
