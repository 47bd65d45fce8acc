package modalserver

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const tokenLifetime = time.Hour

// The audiences of the two kinds of token.
const (
	forControl = "control"
	forRouter  = "router"
	forConnect = "connect"
	forBlob    = "blob"
)

// authority checks who calls and signs what it hands out.
type authority struct {
	id, secret string
	key        []byte
	now        func() time.Time
}

// newAuthority takes its key from the store, so that tokens outlive a restart.
func newAuthority(id, secret string, st *store, now func() time.Time) (*authority, error) {
	fresh := make([]byte, 32)
	if _, err := rand.Read(fresh); err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	key, err := getOrCreate(st, kindServer, "signing-key", fresh)
	if err != nil {
		return nil, fmt.Errorf("keep signing key: %w", err)
	}
	return &authority{id: id, secret: secret, key: key, now: now}, nil
}

func (a *authority) sign(audience, subject string) (string, error) {
	now := a.now()
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject:   subject,
		Audience:  jwt.ClaimStrings{audience},
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(tokenLifetime)),
	})
	return token.SignedString(a.key)
}

// verify returns the subject of a token.
func (a *authority) verify(audience, token string) (string, error) {
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return a.key, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithAudience(audience), jwt.WithExpirationRequired(), jwt.WithTimeFunc(a.now))
	return claims.Subject, err
}

// admitControl checks the credentials of a call to the control plane.
func (a *authority) admitControl(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if !matches(a.id, md.Get("x-modal-token-id")) || !matches(a.secret, md.Get("x-modal-token-secret")) {
		return status.Error(codes.Unauthenticated,
			"token ID or token secret is wrong: set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET to what this server was started with")
	}
	// Streams carry no token, so it is checked only where it is sent.
	for _, token := range md.Get("x-modal-auth-token") {
		if _, err := a.verify(forControl, token); err != nil {
			return status.Error(codes.Unauthenticated, tokenFault("auth token", err))
		}
	}
	return nil
}

func matches(want string, got []string) bool {
	return want == "" || len(got) > 0 && subtle.ConstantTimeCompare([]byte(want), []byte(got[len(got)-1])) == 1
}

// admitRouter checks the bearer token of a call to the command router and
// returns the task that it is good for.
func (a *authority) admitRouter(ctx context.Context) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, header := range md.Get("authorization") {
		scheme, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "bearer") {
			continue
		}
		task, err := a.verify(forRouter, token)
		if err != nil {
			return "", status.Error(codes.Unauthenticated, tokenFault("bearer token", err))
		}
		return task, nil
	}
	return "", status.Error(codes.Unauthenticated, "call has no bearer token")
}

// tokenFault says what is wrong without repeating the token.
func tokenFault(what string, err error) string {
	if errors.Is(err, jwt.ErrTokenExpired) {
		return what + " has expired"
	}
	return what + " is not valid"
}
