/**
 * What etcd and its tools may have of e2d's environment: a list of what they use, because a list of what is secret never
 * ends. Secrets stay out of `/proc/PID/environ` and of crash reports, ETCD_* cannot contradict the arguments, and the
 * proxy that downloads go through (HTTPS_PROXY) does not come between members.
 */
export const etcdEnvironment = new RegExp(
  `^(${
    [
      "PATH|HOME|TMPDIR|TZ|LANG|LC_[A-Z]+|LD_LIBRARY_PATH",
      // The Go runtime: how much of the machine it takes, and how it words its end.
      "GODEBUG|GOGC|GOMAXPROCS|GOMEMLIMIT|GOTRACEBACK",
      // Authorities of the system, where they are not in their usual place.
      "SSL_CERT_DIR|SSL_CERT_FILE",
      // etcd 3.4 insists on it on machines that are not amd64.
      "ETCD_UNSUPPORTED_ARCH",
    ].join("|")
  })$`,
);
