package modalserver

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// ephemeralSecretLife is how long a secret without a name can be used.
const ephemeralSecretLife = 24 * time.Hour

// secretBook holds the secrets that are never written anywhere: those from the
// configuration and those without a name. Named ones that clients create are
// in the store.
type secretBook struct {
	configured map[string]named // by name

	mu      sync.Mutex
	secrets map[string]named // by ID
}

func newSecretBook(configured map[string]map[string]string) *secretBook {
	b := &secretBook{configured: map[string]named{}, secrets: map[string]named{}}
	for name, values := range configured {
		secret := named{ID: newID("st-"), Name: name, Values: maps.Clone(values)}
		b.configured[name] = secret
		b.secrets[secret.ID] = secret
	}
	return b
}

func (b *secretBook) add(secret named) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.secrets[secret.ID] = secret
}

func (b *secretBook) get(id string) (named, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	secret, ok := b.secrets[id]
	return secret, ok
}

func (b *secretBook) sweep(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.secrets, func(_ string, s named) bool {
		return s.Name == "" && now.Sub(s.Created) > ephemeralSecretLife
	})
}

// SecretGetOrCreate finds a secret by name or makes one.
func (s *Server) SecretGetOrCreate(_ context.Context, r *pb.SecretGetOrCreateRequest) (*pb.SecretGetOrCreateResponse, error) {
	fresh := named{
		ID:          newID("st-"),
		Environment: environmentOr(r.GetEnvironmentName()),
		Name:        r.GetDeploymentName(),
		Created:     time.Now(),
		Values:      r.GetEnvDict(),
	}
	for name := range fresh.Values {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return nil, status.Errorf(codes.InvalidArgument, "secret has an invalid variable name %q", name)
		}
	}
	how := r.GetObjectCreationType()
	if how == pb.ObjectCreationType_OBJECT_CREATION_TYPE_EPHEMERAL ||
		how == pb.ObjectCreationType_OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP {
		fresh.Name = ""
		s.secrets.add(fresh)
		return secretAnswer(fresh), nil
	}
	if err := checkName("secret", fresh.Name); err != nil {
		return nil, err
	}
	owner, ok := s.secrets.configured[fresh.Name]
	if !ok {
		var err error
		if owner, err = s.lookUp(kindSecret, fresh, how); err != nil {
			return nil, err
		}
		s.secrets.add(owner)
	}
	var missing []string
	for _, key := range r.GetRequiredKeys() {
		if _, ok := owner.Values[key]; !ok {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		return nil, status.Errorf(codes.FailedPrecondition, "Secret is missing key(s): %s", strings.Join(missing, ", "))
	}
	return secretAnswer(owner), nil
}

func secretAnswer(secret named) *pb.SecretGetOrCreateResponse {
	return pb.SecretGetOrCreateResponse_builder{
		SecretId: secret.ID,
		Metadata: pb.SecretMetadata_builder{Name: secret.Name}.Build(),
	}.Build()
}

// findSecret finds a secret by ID, also one that another run created.
func (s *Server) findSecret(id string) (named, error) {
	if secret, ok := s.secrets.get(id); ok {
		return secret, nil
	}
	all, err := loadAll[named](s.names, kindSecret)
	if err != nil {
		return named{}, failure("find secret", err)
	}
	i := slices.IndexFunc(all, func(n named) bool { return n.ID == id })
	if i < 0 {
		return named{}, status.Errorf(codes.NotFound, "secret %s not found", id)
	}
	s.secrets.add(all[i])
	return all[i], nil
}

// SecretDelete deletes a secret.
func (s *Server) SecretDelete(_ context.Context, r *pb.SecretDeleteRequest) (*emptypb.Empty, error) {
	secret, err := s.findSecret(r.GetSecretId())
	if err != nil {
		return nil, err
	}
	if _, ok := s.secrets.configured[secret.Name]; ok && secret.Name != "" {
		return nil, status.Errorf(codes.FailedPrecondition, "secret '%s' belongs to the server's configuration", secret.Name)
	}
	if secret.Name != "" {
		err := s.store.remove(kindSecret, nameKey(secret.Environment, secret.Name))
		if err != nil && !errors.Is(err, errNoRecord) {
			return nil, failure("delete secret", err)
		}
	}
	s.secrets.mu.Lock()
	defer s.secrets.mu.Unlock()
	delete(s.secrets.secrets, secret.ID)
	return &emptypb.Empty{}, nil
}

// SecretList lists the named secrets of an environment, without their values.
func (s *Server) SecretList(_ context.Context, r *pb.SecretListRequest) (*pb.SecretListResponse, error) {
	environment := environmentOr(r.GetEnvironmentName())
	all, err := loadAll[named](s.names, kindSecret)
	if err != nil {
		return nil, failure("list secrets", err)
	}
	all = append(all, slices.Collect(maps.Values(s.secrets.configured))...)
	all = slices.DeleteFunc(all, func(n named) bool { return n.Environment != "" && n.Environment != environment })
	slices.SortFunc(all, func(a, b named) int { return strings.Compare(a.Name, b.Name) })
	items := make([]*pb.SecretListItem, len(all))
	for i, secret := range all {
		items[i] = pb.SecretListItem_builder{
			Label:           secret.Name,
			SecretId:        secret.ID,
			EnvironmentName: environment,
			CreatedAt:       seconds(secret.Created),
		}.Build()
	}
	return pb.SecretListResponse_builder{Items: items, EnvironmentName: environment}.Build(), nil
}

// environ turns secrets, and variables that are no secret's, into "NAME=value",
// sorted; of two that set the same name the later one counts.
func (s *Server) environ(secretIDs []string, further ...map[string]string) ([]string, error) {
	values := map[string]string{}
	for _, id := range secretIDs {
		secret, err := s.findSecret(id)
		if err != nil {
			return nil, err
		}
		maps.Copy(values, secret.Values)
	}
	for _, more := range further {
		maps.Copy(values, more)
	}
	env := make([]string, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		env = append(env, name+"="+values[name])
	}
	return env, nil
}

// seconds is a time as the protocol has it.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
