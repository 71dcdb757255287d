import { etcdEnvironment } from "../../lib/etcd/process/environment.ts";
import { assertEquals } from "../support/assert.ts";

Deno.test("etcdEnvironment passes the variables that etcd uses, and none that contradicts its arguments or leaks a secret", () => {
  const taken = ["PATH", "HOME", "TMPDIR", "TZ", "LC_ALL", "GOMAXPROCS", "SSL_CERT_FILE", "ETCD_UNSUPPORTED_ARCH"];
  const kept = [
    ...["E2D_AWS_SECRET_KEY", "AWS_SECRET_ACCESS_KEY", "DIGITALOCEAN_TOKEN", "HCLOUD_TOKEN", "KUBECONFIG"],
    ...["ETCD_DATA_DIR", "ETCDCTL_USER", "HTTPS_PROXY", "https_proxy", "NOTIFY_SOCKET", "LD_PRELOAD"],
    ...["MY_PATH", "PATH_TO_SECRET", "HOMEBREW_TOKEN", "XPATH", ""],
  ];
  assertEquals([...taken, ...kept].filter((name) => etcdEnvironment.test(name)), taken);
});
