# A name server as Debian ships it, for SRV records, with the libraries that a bare system does not have.
# part: dnsmasq-2.90
build_part() {
  deb dnsmasq-base libdbus-1-3 libhogweed6 libjansson4 libmnl0 libnetfilter-conntrack3 libnettle8 libnfnetlink0 \
    libnftables1 libnftnl11 libxtables12
  mkdir "$stage/lib"
  cp root/usr/sbin/dnsmasq "$stage/dnsmasq.real"
  find root -name '*.so.*' -exec cp -P {} "$stage/lib/" ';'
  cat > "$stage/dnsmasq" <<'WRAPPER'
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
LD_LIBRARY_PATH=$here/lib exec "$here/dnsmasq.real" "$@"
WRAPPER
  chmod +x "$stage/dnsmasq"
}
