//go:build linux

package linux

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What developers and agents use goes on working behind the walls.
func TestToolsWork(t *testing.T) {
	tools := map[string]struct{ program, script, want string }{
		"multiprocessing": {"python3", `python3 -c '
import multiprocessing as m
if __name__ == "__main__":
    with m.get_context("fork").Pool(3) as p:
        print(sum(p.map(abs, range(-9, 1))))
    q = m.get_context("spawn").Queue(); q.put(7); print(q.get())
    from multiprocessing import shared_memory
    s = shared_memory.SharedMemory(create=True, size=64); s.buf[0] = 1; s.close(); s.unlink()'`, "45\n7"},
		"threads and sockets": {"python3", `python3 -c '
import asyncio, socket, subprocess, tempfile, threading
async def main():
    async def serve(r, w):
        w.write(await r.readline()); await w.drain(); w.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    r, w = await asyncio.open_connection(*server.sockets[0].getsockname())
    w.write(b"echo\n"); print((await r.readline()).decode().strip())
asyncio.run(main())
print(subprocess.run(["true"], preexec_fn=lambda: None).returncode, tempfile.TemporaryFile().write(b"x"))'`, "echo\n0 1"},
		"git": {"git", `cd /tmp && git init -q a 2>/dev/null && cd a && git config user.email a@b && git config user.name a &&
			echo x > f && git add f && git commit -qm one && cd .. && git clone -q a b 2>/dev/null && cat b/f && git -C b log --format=%s`, "x\none"},
		"strace": {"strace", `strace -f -o /tmp/trace sh -c 'true; /bin/true' && grep -q execve /tmp/trace && echo traced`, "traced"},
		"gdb":    {"gdb", `gdb -nx -batch -ex 'catch syscall write' -ex run -ex 'info inferiors' -ex kill --args /bin/echo hi 2>&1 | grep -c 'Catchpoint 1 (call to syscall'`, "1"},
		"node": {"node", `node -e '
const { execFileSync } = require("child_process"), { Worker } = require("worker_threads"), fs = require("fs");
fs.watch("/tmp").close();
console.log(execFileSync("echo", ["child"]).toString().trim());
new Worker("require(\"worker_threads\").parentPort.postMessage(1)", { eval: true }).on("message", m => console.log(m));'`, "child\n1"},
		"dpkg": {"dpkg-deb", `mkdir -p /tmp/p/DEBIAN /tmp/p/usr/bin && cd /tmp && printf 'Package: seer-own\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: x\n' > p/DEBIAN/control &&
			cp /bin/true p/usr/bin/seer-own && chmod 4755 p/usr/bin/seer-own && dpkg-deb -b p p.deb >/dev/null && dpkg -i p.deb >/dev/null 2>&1; stat -c %a /usr/bin/seer-own`, "4755"},
		"archives and users": {"tar", `cd /tmp && mkdir t && cp -a /usr/share/doc/tar t/ && chown -R nobody t && tar -cf t.tar t && rm -r t && tar -xf t.tar && ls t && chroot / true && su nobody -s /bin/sh -c 'echo su'`, "tar\nsu"},
	}
	inEveryMode(t, nil, func(t *testing.T, i *inside) {
		for name, tool := range tools {
			if _, err := exec.LookPath(tool.program); err != nil {
				t.Logf("%s is not on this machine", tool.program)
				continue
			}
			assert.Equal(t, tool.want, i.sh(tool.script), name)
		}
	})
}
