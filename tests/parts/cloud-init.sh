# cloud-init as Debian ships it, for its schema check, with the Python modules that a bare system does not have.
# part: cloud-init-22.4.2
build_part() {
  deb cloud-init python3-yaml python3-jsonschema python3-pyrsistent python3-attr python3-jinja2 python3-markupsafe \
    python3-configobj python3-six python3-jsonpatch python3-json-pointer python3-oauthlib python3-requests \
    python3-urllib3 python3-chardet python3-idna python3-certifi python3-netifaces
  cp -R root/usr/lib/python3/dist-packages "$stage/modules"
  cat > "$stage/cloud-init" <<'WRAPPER'
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/modules exec python3 -m cloudinit.cmd.main "$@"
WRAPPER
  chmod +x "$stage/cloud-init"
}
