package modalserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	defaultEnvironment = "main"
	maxNameLength      = 64
)

var nameShape = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

func checkName(what, name string) error {
	if len(name) > maxNameLength || !nameShape.MatchString(name) {
		return status.Errorf(codes.InvalidArgument,
			"invalid %s name %q: at most %d letters, digits, dots, dashes and underscores", what, name, maxNameLength)
	}
	return nil
}

func environmentOr(name string) string {
	if name == "" {
		return defaultEnvironment
	}
	return name
}

// named is what the server remembers of an app, a secret or a volume.
type named struct {
	ID          string
	Environment string
	Name        string // "" for what lives without one
	Created     time.Time
	Version     int32             `json:",omitempty"` // of a volume
	Values      map[string]string `json:",omitempty"` // of a secret
}

// builtImage is what the server remembers of an image.
type builtImage struct {
	ID      string
	Runtime string // the runtime's ID
	Layer   string // key of the layer; "" for a snapshot
}

// catalog is the typed face of the store. What does not exist is errNoRecord.
type catalog struct{ store *store }

func nameKey(environment, name string) string { return environment + "\x00" + name }

func load[T any](c catalog, k kind, key string) (T, error) {
	var value T
	data, err := c.store.get(k, key)
	if err != nil {
		return value, err
	}
	return value, json.Unmarshal(data, &value)
}

func save[T any](c catalog, k kind, key string, value T) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return c.store.put(k, key, data)
}

func loadAll[T any](c catalog, k kind) ([]T, error) {
	records, err := c.store.list(k)
	if err != nil {
		return nil, err
	}
	values := make([]T, 0, len(records))
	for _, data := range records {
		var value T
		if err := json.Unmarshal(data, &value); err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

// claim gives a name to value unless it has an owner already, and returns the owner.
func (c catalog) claim(k kind, value named) (named, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return named{}, err
	}
	data, err = getOrCreate(c.store, k, nameKey(value.Environment, value.Name), data)
	if err != nil {
		return named{}, err
	}
	var owner named
	return owner, json.Unmarshal(data, &owner)
}

// index makes what has a name known by its ID as well.
func (c catalog) index(k kind, value named) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = getOrCreate(c.store, k, value.ID, data)
	return err
}

// failure turns what the state directory answers into an answer for clients:
// none of it would be better on a retry.
func failure(action string, err error) error {
	if errors.Is(err, errNoRecord) {
		return status.Errorf(codes.NotFound, "%s: not found", action)
	}
	return status.Error(codes.FailedPrecondition, fmt.Sprintf("%s: %v", action, err))
}
