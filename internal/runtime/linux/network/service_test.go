//go:build linux

package network

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// serveTCP runs the test service on a listener: a line says what to do with
// the rest of the connection.
func serveTCP(tb testing.TB, l net.Listener) {
	tb.Helper()
	var running sync.WaitGroup
	tb.Cleanup(func() {
		assert.NoError(tb, l.Close())
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer shut(conn)
				answer(conn)
			})
		}
	})
}

func answer(conn net.Conn) {
	in := bufio.NewReaderSize(conn, 256<<10)
	var verb string
	var size int64
	if _, err := fmt.Fscanf(in, "%s %d\n", &verb, &size); err != nil {
		return
	}
	switch verb {
	case "get": // so many bytes
		_, _ = io.Copy(conn, io.LimitReader(noise(), size))
	case "reset": // so many bytes and a reset
		_, _ = io.Copy(conn, io.LimitReader(noise(), size))
		_ = asTCP(conn).SetLinger(0)
	case "put": // the hash of everything up to the end of the stream
		h := sha256.New()
		if _, err := io.Copy(h, in); err != nil {
			fmt.Fprint(conn, err)
			return
		}
		fmt.Fprint(conn, hex.EncodeToString(h.Sum(nil)))
	case "hold": // a byte, and nothing more until the other side ends
		_, _ = conn.Write([]byte{'!'})
		_, _ = io.Copy(io.Discard, in)
	}
}

// noise is the same endless stream each time, and no two pages of it are alike.
func noise() io.Reader { return rand.NewChaCha8([32]byte{1}) }

func noiseHash(tb testing.TB, size int64) string {
	tb.Helper()
	h := sha256.New()
	_, err := io.Copy(h, io.LimitReader(noise(), size))
	require.NoError(tb, err)
	return hex.EncodeToString(h.Sum(nil))
}

func get(conn net.Conn, size int64) (hash string, err error) {
	if _, err := fmt.Fprintf(conn, "get %d\n", size); err != nil {
		return "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, conn); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func put(conn net.Conn, size int64) (hash string, err error) {
	if _, err := fmt.Fprintf(conn, "put %d\n", size); err != nil {
		return "", err
	}
	if _, err := io.Copy(conn, io.LimitReader(noise(), size)); err != nil {
		return "", err
	}
	if err := asTCP(conn).CloseWrite(); err != nil {
		return "", err
	}
	text, err := io.ReadAll(conn)
	return string(text), err
}

// echoPackets answers every datagram with itself.
func echoPackets(tb testing.TB, c net.PacketConn) {
	tb.Helper()
	done := make(chan struct{})
	tb.Cleanup(func() {
		assert.NoError(tb, c.Close())
		<-done
	})
	go func() {
		defer close(done)
		buf := make([]byte, maxDatagram)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(buf[:n], from)
		}
	}()
}

func asTCP(conn net.Conn) *net.TCPConn {
	c, _ := conn.(*net.TCPConn)
	return c
}

// shut closes what a test is done with, whatever has become of it.
func shut(c io.Closer) { c.Close() }
