package seer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/modelcache"
)

// modelHub is the cache of models on a backend, as one Start or one look at
// the cache uses it.
type modelHub struct {
	cache     *modelcache.Cache
	store     *modelStore
	transport *http.Transport
}

// newModelHub connects the cache to a backend. Downloader makes the image that
// downloads run in; nil where there is nothing to download.
func newModelHub(client *modalclient.Client, lookup secretLookup, backend string, logger *slog.Logger, downloader downloaderImage) (*modelHub, error) {
	endpoint, _ := lookup("HF_ENDPOINT")
	token, _ := lookup("HF_TOKEN")
	inside, err := endpointInside(endpoint, client.HostName())
	if err != nil {
		return nil, err
	}
	secret, uses, aliases, err := modelNotes(backend)
	if err != nil {
		logger.Warn("notes on models cannot be kept: hidden models are cached for this program only", "error", err)
	}
	namer, err := modelcache.NewNamer(secret)
	if err != nil {
		return nil, err
	}
	h := &modelHub{
		store:     newModelStore(client),
		transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true},
	}
	h.cache = &modelcache.Cache{
		Hub:      &huggingface.Client{Endpoint: endpoint, Token: token, HTTPClient: &http.Client{Transport: h.transport}},
		Store:    h.store,
		Writers:  &modelWriters{client: client, store: h.store, image: downloader},
		Namer:    namer,
		Endpoint: inside,
		Uses:     uses,
		Aliases:  aliases,
		Log:      logger,
	}
	return h, nil
}

func (h *modelHub) close() { h.transport.CloseIdleConnections() }

func (h *modelHub) ensure(ctx context.Context, model modelcache.Model, bases []string, notify func(modelcache.Event)) (*modelcache.Cached, error) {
	cached, err := h.cache.Ensure(ctx, modelcache.Request{Model: model, Bases: bases, Notify: notify})
	if err != nil {
		return nil, modelError(err)
	}
	return cached, nil
}

// endpointInside is the hub's address as sandboxes reach it: this machine's
// loopback has another name there, or none.
func endpointInside(endpoint, hostName string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", errors.New("HF_ENDPOINT is not a URL") // whose text may hold a password
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
		return endpoint, nil
	}
	if hostName == "" {
		return "", fmt.Errorf("HF_ENDPOINT is on this machine (%s), where sandboxes of Modal do not reach it", u.Host)
	}
	if port := u.Port(); port != "" {
		hostName = net.JoinHostPort(hostName, port)
	}
	u.Host = hostName
	return u.String(), nil
}
