import { BlockList, isIP } from "node:net";

/**
 * IPv4 blocks that are not global unicast: those of IANA's IPv4 Special-Purpose Address Registry that are not globally
 * reachable, the deprecated 6to4 relays, multicast, and what is reserved above it.
 */
const specialIpv4 = blocks("ipv4", [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/3",
]);

/** All of IPv6 that IANA has delegated as global unicast (RFC 4291, 2.4). */
const globalIpv6 = blocks("ipv6", ["2000::/3"]);

/** What the IPv6 Special-Purpose Address Registry takes out of it again. */
const specialIpv6 = blocks("ipv6", [
  // Protocol assignments: Teredo, benchmarking, both ORCHIDs and what is yet to come.
  "2001::/23",
  "2001:db8::/32",
  // Holds an IPv4 address, which may be any of those above.
  "2002::/16",
  "3fff::/20",
]);

/** Whether an address is global unicast: not this machine, not a private network, not a cloud's metadata. */
export function isPublicAddress(address: string): boolean {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
  if (isIP(mapped) === 4) return !specialIpv4.check(mapped, "ipv4");
  return isIP(mapped) === 6 && globalIpv6.check(mapped, "ipv6") && !specialIpv6.check(mapped, "ipv6");
}

function blocks(family: "ipv4" | "ipv6", subnets: readonly string[]): BlockList {
  const list = new BlockList();
  for (const subnet of subnets) {
    const [address, prefix] = subnet.split("/");
    list.addSubnet(address!, Number(prefix), family);
  }
  return list;
}
