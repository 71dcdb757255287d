# moto: EC2, Auto Scaling, IAM and STS in memory, with signatures and policies checked when that is switched on.
# part: moto-5.2.5
build_part() {
  need python3 "this part is a Python program (Debian: apt-get install python3-venv)"
  # Not a virtual environment: those hold the path they were made in, and the part is renamed into place.
  python3 -m venv venv || fail "cannot make a virtual environment"
  venv/bin/pip install -q --disable-pip-version-check --target "$stage/site" "moto==${part#moto-}" flask flask-cors >pip.log 2>&1 ||
    { cat pip.log >&2; fail "cannot install moto"; }
  cat >"$stage/moto_server" <<'END'
#!/bin/sh
PYTHONPATH=$(dirname "$0")/site exec python3 -m moto.server "$@"
END
  chmod +x "$stage/moto_server"
}
