import { Agent, type Dispatcher, EnvHttpProxyAgent, Pool } from "undici";
import { CodedError } from "../errors/index.ts";

/** Never reached through a proxy, as with Go's clients. */
const thisMachine = ["localhost", "127.0.0.1", "[::1]"];

/**
 * Connections as the environment wants them: HTTP_PROXY, HTTPS_PROXY (else HTTP_PROXY) and NO_PROXY, in lower case too,
 * which wins. `options.connect` counts for direct connections; names behind a proxy are resolved by the proxy.
 * @throws CodedError PROXY_INVALID
 */
export function connections(env: NodeJS.ProcessEnv, options: Agent.Options = {}): Dispatcher {
  const httpProxy = proxyUrl(env, "HTTP_PROXY");
  const httpsProxy = proxyUrl(env, "HTTPS_PROXY");
  if (httpProxy === "" && httpsProxy === "") return new Agent(options);
  const noProxy = (env.no_proxy || env.NO_PROXY || "").split(/[,\s]+/);
  const { headersTimeout, bodyTimeout } = options;
  return new EnvHttpProxyAgent({
    ...options,
    httpProxy,
    httpsProxy,
    noProxy: noProxy.includes("*") ? "*" : [...noProxy, ...thisMachine].join(","),
    // Plain requests go to the proxy as such: many proxies tunnel to port 443 only.
    proxyTunnel: false,
    // Without this the limits would not hold for them.
    factory: (origin, more) => new Pool(origin, { headersTimeout, bodyTimeout, ...more }),
  });
}

function proxyUrl(env: NodeJS.ProcessEnv, name: "HTTP_PROXY" | "HTTPS_PROXY"): string {
  const text = (env[name.toLowerCase()] || env[name] || "").trim();
  if (text === "") return "";
  // As curl takes it.
  const url = text.includes("://") ? text : `http://${text}`;
  if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) return url;
  // The text may hold a password.
  throw new CodedError("PROXY_INVALID", `${name} is not the address of a http or https proxy`, {
    hint: `set it to an address such as http://proxy.example.com:3128, or unset it`,
  });
}
