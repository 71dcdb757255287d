/**
 * The variables that etcd and its tools inherit from e2d: an allow-list, because a list of secrets is never complete.
 * Secrets stay out of `/proc/PID/environ` and of crash reports, ETCD_* cannot contradict the arguments, and the proxy for
 * downloads (HTTPS_PROXY) is not used between members.
 */
export const etcdEnvironment = new RegExp(
  `^(${
    [
      "PATH|HOME|TMPDIR|TZ|LANG|LC_[A-Z]+|LD_LIBRARY_PATH",
      // Limits of the Go runtime, and the format of its crash reports.
      "GODEBUG|GOGC|GOMAXPROCS|GOMEMLIMIT|GOTRACEBACK",
      // The system's certificate authorities, when they are not in the usual place.
      "SSL_CERT_DIR|SSL_CERT_FILE",
      // etcd 3.4 does not start without it on machines that are not amd64.
      "ETCD_UNSUPPORTED_ARCH",
    ].join("|")
  })$`,
);
