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
udevd=/usr/lib/systemd/systemd-udevd
# kmod's tables are made when packages are installed, which nobody does here. By its path: the shell prefers its own.
[ ! -x $udevd ] || /sbin/depmod -a
# Drivers that are there before udev, as from a distribution's initramfs, unless udev is to load them.
if ! grep -qw lab.drivers=udev /proc/cmdline; then
    while read -r module; do
        modprobe "$module" || echo "ringway-lab: cannot load $module"
    done < /etc/lab/modules
fi
if [ -x $udevd ]; then
    # As Debian's initramfs and systemd do it, but for the devices that nobody here looks at.
    mkdir -p /dev/pts
    mount -t devpts -o gid=2,mode=620 devpts /dev/pts
    $udevd --daemon
    udevadm trigger --type=devices --action=add --subsystem-match=pci --subsystem-match=virtio \
        --subsystem-match=net --subsystem-match=misc
    udevadm settle || echo "ringway-lab: udev has not settled"
fi
ip link set lo up
. /etc/lab/channel.sh
