# serf agent as Debian ships it: a memberlist peer that nobody here has written.
# part: serf-0.9.4
build_part() {
  deb serf
  cp root/usr/bin/serf "$stage/"
}
