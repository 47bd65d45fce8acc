//go:build linux

package guest

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"
)

// answer runs a filter as the kernel does.
func (c call) answer(t *testing.T, program []unix.SockFilter) verdict {
	t.Helper()
	var a uint32
	for pc := 0; pc < len(program); pc++ {
		i := program[pc]
		holds := false
		switch i.Code {
		case loadWord:
			a = c.word(i.K)
			continue
		case leave:
			return verdict(i.K)
		case jumpIf:
			holds = a == i.K
		case jumpOver:
			holds = a > i.K
		case jumpAny:
			holds = a&i.K != 0
		default:
			t.Fatalf("instruction %d: code %#x", pc, i.Code)
		}
		if holds {
			pc += int(i.Jt)
		} else {
			pc += int(i.Jf)
		}
	}
	t.Fatal("the filter does not answer")
	return 0
}

type call struct {
	arch, number uint32
	arguments    [6]uint64
}

func (c call) word(offset uint32) uint32 {
	switch offset {
	case offsetNumber:
		return c.number
	case offsetArch:
		return c.arch
	default:
		return uint32(c.arguments[(offset-offsetArguments)/8] >> (8 * ((offset - offsetArguments) % 8)))
	}
}

func own(number uint32, arguments ...uint64) call {
	c := call{arch: auditArch, number: number}
	copy(c.arguments[:], arguments)
	return c
}

func TestFilter(t *testing.T) {
	const upper = 1 << 32 // what the kernel does not look at either
	usual, nesting := assemble(rules(strict{})), assemble(rules(strict{nesting: true}))
	single, bound := assemble(rules(strict{owners: true})), assemble(rules(strict{noSetID: true}))
	for name, c := range map[string]struct {
		call    call
		program []unix.SockFilter
		want    verdict
	}{
		"another architecture":      {call{arch: unix.AUDIT_ARCH_I386, number: unix.SYS_GETPID}, usual, absent},
		"x32":                       {own(0x40000000 | unix.SYS_GETPID), usual, absent},
		"read":                      {own(unix.SYS_READ), usual, allow},
		"unix":                      {own(unix.SYS_SOCKET, unix.AF_UNIX), usual, allow},
		"inet":                      {own(unix.SYS_SOCKET, unix.AF_INET), usual, allow},
		"inet6":                     {own(unix.SYS_SOCKET, upper|unix.AF_INET6), usual, allow},
		"vsock":                     {own(unix.SYS_SOCKET, unix.AF_VSOCK), usual, noFamily},
		"vsock, upper word":         {own(unix.SYS_SOCKET, upper|unix.AF_VSOCK), usual, noFamily},
		"packet":                    {own(unix.SYS_SOCKET, unix.AF_PACKET), usual, noFamily},
		"pair of tipc":              {own(unix.SYS_SOCKETPAIR, unix.AF_TIPC), usual, noFamily},
		"netlink":                   {own(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE), usual, allow},
		"netlink, another":          {own(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT), usual, noService},
		"io_uring":                  {own(unix.SYS_IO_URING_SETUP), nesting, absent},
		"keys":                      {own(unix.SYS_REQUEST_KEY), nesting, absent},
		"bpf":                       {own(unix.SYS_BPF), nesting, denied},
		"terminal":                  {own(unix.SYS_IOCTL, 0, unix.TCGETS), usual, allow},
		"input into a terminal":     {own(unix.SYS_IOCTL, 0, upper|unix.TIOCSTI), usual, denied},
		"paste into a console":      {own(unix.SYS_IOCTL, 0, unix.TIOCLINUX), usual, denied},
		"line discipline":           {own(unix.SYS_IOCTL, 0, unix.TIOCSETD), nesting, denied},
		"pipe":                      {own(unix.SYS_FCNTL, 0, unix.F_SETPIPE_SZ, 1<<16), usual, allow},
		"large pipe":                {own(unix.SYS_FCNTL, 0, unix.F_SETPIPE_SZ, 1<<16+1), nesting, denied},
		"large pipe, signed":        {own(unix.SYS_FCNTL, 0, upper|unix.F_SETPIPE_SZ, 1<<31), usual, denied},
		"lock":                      {own(unix.SYS_FCNTL, 0, unix.F_SETLK, 1<<31), usual, allow},
		"machine's requests":        {own(unix.SYS_IO_SETUP, 1), usual, absent},
		"fork":                      {own(unix.SYS_CLONE, uint64(unix.SIGCHLD)), usual, allow},
		"namespace":                 {own(unix.SYS_CLONE, unix.CLONE_NEWUSER|uint64(unix.SIGCHLD)), usual, denied},
		"namespace where wanted":    {own(unix.SYS_CLONE, unix.CLONE_NEWUSER|uint64(unix.SIGCHLD)), nesting, allow},
		"unshare":                   {own(unix.SYS_UNSHARE, unix.CLONE_NEWCGROUP), usual, denied},
		"unshare files":             {own(unix.SYS_UNSHARE, unix.CLONE_FILES), usual, allow},
		"clone3":                    {own(unix.SYS_CLONE3), usual, absent},
		"mount":                     {own(unix.SYS_MOUNT), usual, denied},
		"mount where wanted":        {own(unix.SYS_MOUNT), nesting, allow},
		"chown":                     {own(unix.SYS_FCHOWNAT), usual, allow},
		"chown with one user":       {own(unix.SYS_FCHOWNAT), single, succeed},
		"setuid bit":                {own(unix.SYS_FCHMODAT, 0, 0, 0o4755), usual, allow},
		"setuid bit, bound":         {own(unix.SYS_FCHMODAT, 0, 0, 0o4755), bound, denied},
		"setgid bit, bound":         {own(unix.SYS_FCHMOD, 0, 0o2755), bound, denied},
		"mode, bound":               {own(unix.SYS_FCHMOD, 0, 0o1755), bound, allow},
		"mode of no file":           {own(unix.SYS_OPENAT, 0, 0, unix.O_RDWR, 0o4755), bound, allow},
		"mode of a new file":        {own(unix.SYS_OPENAT, 0, 0, unix.O_RDWR|unix.O_CREAT, 0o644), bound, allow},
		"setuid of a new file":      {own(unix.SYS_OPENAT, 0, 0, unix.O_RDWR|unix.O_CREAT, 0o4755), bound, denied},
		"setuid of an unnamed file": {own(unix.SYS_OPENAT, 0, 0, unix.O_RDWR|unix.O_TMPFILE, 0o4755), bound, denied},
		"openat2":                   {own(unix.SYS_OPENAT2), bound, absent},
		"openat2, usual":            {own(unix.SYS_OPENAT2), usual, allow},
	} {
		assert.Equal(t, c.want, c.call.answer(t, c.program), name)
	}
}

// Whatever is called, every filter answers, and a number that no rule has passes.
func TestFilterAlwaysAnswers(t *testing.T) {
	for _, s := range []strict{{}, {owners: true}, {nesting: true}, {noSetID: true}, {owners: true, noSetID: true}} {
		table := rules(s)
		program := assemble(table)
		named := map[uint32]bool{}
		for _, r := range table {
			for _, number := range r.calls {
				assert.False(t, named[number], "call %d is in two rules", number)
				named[number] = true
			}
		}
		for number := range uint32(1000) {
			c := own(number, rand.Uint64(), rand.Uint64(), rand.Uint64(), rand.Uint64())
			if got := c.answer(t, program); !named[number] {
				assert.Equal(t, allow, got, number)
			}
		}
	}
}
