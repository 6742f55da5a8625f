#!/bin/sh
# Debian's modprobe follows a module's soft dependencies, busybox's doesn't. Of the lab's modules only vfio has
# one: its IOMMU back end is loaded after it.
/sbin/modprobe "$@" || exit
for word in "$@"; do
    case "$word" in
    vfio | vfio-pci | vfio_pci) exec /sbin/modprobe vfio_iommu_type1 ;;
    esac
done
