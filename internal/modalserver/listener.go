package modalserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/crowd"
)

const (
	tlsHandshakeRecord = 0x16 // the first byte of every TLS connection
	sniffTimeout       = 10 * time.Second
	certificateLife    = 365 * 24 * time.Hour
)

// sniffingListener accepts TLS and plaintext connections on one port. Some
// clients speak TLS without naming a protocol (ALPN), which gRPC's own
// credentials refuse, so TLS ends here.
type sniffingListener struct {
	net.Listener
	tls      *tls.Config
	accepted chan net.Conn
	closed   chan struct{}
	closing  sync.Once

	mu       sync.Mutex
	sniffing map[net.Conn]struct{}
	work     sync.WaitGroup
}

func newSniffingListener(l net.Listener, cfg *tls.Config) *sniffingListener {
	s := &sniffingListener{
		Listener: l,
		tls:      cfg,
		accepted: make(chan net.Conn),
		closed:   make(chan struct{}),
		sniffing: map[net.Conn]struct{}{},
	}
	s.work.Go(s.acceptAll)
	return s
}

func (s *sniffingListener) acceptAll() {
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			_ = s.shut()
			return
		}
		s.work.Go(func() { s.hand(conn) })
	}
}

// hand passes a connection on once its first byte has told what it speaks.
func (s *sniffingListener) hand(conn net.Conn) {
	if !s.track(conn) {
		_ = conn.Close()
		return
	}
	defer func() {
		s.mu.Lock()
		delete(s.sniffing, conn)
		s.mu.Unlock()
	}()
	sniffed, err := sniff(conn, s.tls)
	if err != nil {
		_ = conn.Close()
		return
	}
	select {
	case s.accepted <- sniffed:
	case <-s.closed:
		_ = conn.Close()
	}
}

// track makes sure that closing does not wait for a silent connection.
func (s *sniffingListener) track(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return false
	default:
		s.sniffing[conn] = struct{}{}
		return true
	}
}

func (s *sniffingListener) Accept() (net.Conn, error) {
	select {
	case conn := <-s.accepted:
		return conn, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// Close stops accepting, drops the connections that nobody has taken yet and waits.
func (s *sniffingListener) Close() error {
	err := s.shut()
	s.work.Wait()
	return err
}

func (s *sniffingListener) shut() error {
	var err error
	s.closing.Do(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(s.closed)
		err = s.Listener.Close()
		for conn := range s.sniffing {
			_ = conn.Close()
		}
	})
	return err
}

// sniff reads the first byte of a connection and returns one that still has
// it: the server's end of a TLS connection, or the connection itself.
func sniff(conn net.Conn, cfg *tls.Config) (net.Conn, error) {
	if err := conn.SetReadDeadline(time.Now().Add(sniffTimeout)); err != nil {
		return nil, err
	}
	var first [1]byte
	if _, err := conn.Read(first[:]); err != nil {
		return nil, err
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	whole := &prefixedConn{Conn: conn, prefix: first[:]}
	if first[0] == tlsHandshakeRecord {
		return tls.Server(whole, cfg), nil
	}
	return whole, nil
}

// prefixedConn returns the bytes of prefix before those of the connection.
type prefixedConn struct {
	net.Conn
	prefix []byte
}

func (c *prefixedConn) Read(p []byte) (int, error) {
	if len(c.prefix) > 0 {
		n := copy(p, c.prefix)
		c.prefix = c.prefix[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// CloseWrite ends the sending half, so that a relay can pass on an end of file.
func (c *prefixedConn) CloseWrite() error { return crowd.CloseWrite(c.Conn) }

// selfSigned makes a certificate for the hosts that the server is known by, with
// or without their ports.
func selfSigned(hosts ...string) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: "seer local server"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(certificateLife),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true, // so that a client can name it as what it trusts
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	for _, host := range hosts {
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if host != "" {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2"},
	}, nil
}
