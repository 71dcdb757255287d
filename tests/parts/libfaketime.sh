# A clock of its own for one process, as Debian ships it.
# part: libfaketime-0.9.10
build_part() {
  deb libfaketime
  cp "$(find root -name libfaketime.so.1)" "$stage/"
}
