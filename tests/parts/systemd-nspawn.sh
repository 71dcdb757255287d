# Boots a systemd in namespaces of its own, as Debian ships it. It shares a library with the systemd of the machine.
# part: systemd-nspawn-252
build_part() {
  deb systemd-container
  cp root/usr/bin/systemd-nspawn "$stage/"
}
