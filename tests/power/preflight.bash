# Sourced: ends the caller with 77 where no ext4 can be made on a loop device.
not_run() {
    echo "NOT RUN: $1"
    exit 77
}
[ "$(id -u)" = 0 ] || not_run "needs root"
for tool in mkfs.ext4 mount umount losetup stat; do
    command -v "$tool" >/dev/null || not_run "needs $tool"
done
trial=$(mktemp -d)
truncate -s 16M "$trial/image"
mkdir "$trial/disk"
{ mkfs.ext4 -q "$trial/image" && mount -o loop "$trial/image" "$trial/disk"; } >/dev/null 2>&1 || {
    rm -rf "$trial"
    not_run "cannot mount ext4 over a loop device"
}
umount "$trial/disk"
rm -rf "$trial"
