#!/bin/busybox sh
# The first process of a lab guest: makes the machine usable, then serves the command channel.
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /usr/bin /usr/sbin /sbin
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox mount -t tmpfs -o mode=755 tmpfs /run
/bin/busybox mount -t tmpfs -o mode=1777 tmpfs /tmp
/bin/busybox --install -s
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root
mkdir -p /run/lab /dev/shm
chmod 1777 /run/lab
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
hostname lab
if grep -qw lab.probe /proc/cmdline; then
    echo "ringway-lab: the probe lives"
    poweroff -f
fi
while read -r module; do
    modprobe "$module" || echo "ringway-lab: cannot load $module"
done < /etc/lab/modules
ip link set lo up
. /etc/lab/channel.sh
