package sign

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// cosignModule is the program that people verify by. Its tree of modules has some
// four hundred, so that it is none that this module requires: Go makes the program
// of its own go.sum, and keeps it with what else it has compiled.
const cosignModule = "github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3"

// cosign makes the program, which takes minutes the first time and seconds from then
// on.
func cosign(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("cosign takes minutes to compile: not in short tests")
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "go", "install", cosignModule)
	install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := install.CombinedOutput(); err != nil {
		for _, away := range []string{"dial tcp", "no such host", "i/o timeout", "connection refused", "GOPROXY=off", "TLS handshake"} {
			if strings.Contains(string(out), away) {
				t.Skipf("the proxy of Go modules is not reachable, so there is no cosign: %s", out)
			}
		}
		t.Fatalf("%v: %v\n%s", install.Args, err, out)
	}
	return filepath.Join(dir, "cosign")
}

// pushed is an index in a registry that is no other's.
func pushed(t *testing.T) (repo registry.Repository, at string, digest v1.Hash) {
	t.Helper()
	index, err := random.Index(100, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	index = mutate.IndexMediaType(index, types.OCIImageIndex)
	at = registrytest.Start(t, registrytest.Options{}) + "/org/app"
	ref, err := registry.ParseReference("http://" + at + ":x")
	if err != nil {
		t.Fatal(err)
	}
	if repo, err = registry.NewClient(registry.Options{Push: true}).Repository(ref.Remote); err != nil {
		t.Fatal(err)
	}
	if err := repo.Push(t.Context(), index); err != nil {
		t.Fatal(err)
	}
	if digest, err = index.Digest(); err != nil {
		t.Fatal(err)
	}
	return repo, at, digest
}

// What is signed here cosign verifies, by a key that cosign has made; and what cosign
// signs is read here.
func TestCosign(t *testing.T) {
	program, dir := cosign(t), t.TempDir()
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=secret", "HOME="+dir)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, name := range []string{"own", "other"} {
		if out, err := run("generate-key-pair", "--output-key-prefix", name); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "own.key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseKey(text, []byte("wrong")); err == nil {
		t.Error("any password opens cosign's key")
	}
	key, err := ParseKey(text, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(filepath.Join(dir, "own.pub"))
	if err != nil || string(key.Public().PEM()) != string(public) {
		t.Errorf("the public key is\n%s, cosign has\n%s, %v", key.Public().PEM(), public, err)
	}
	repo, at, digest := pushed(t)
	ref := at + "@" + digest.String()
	verify := func(key string) (string, error) {
		return run("verify", "--key", key, "--insecure-ignore-tlog=true", "--allow-insecure-registry", ref)
	}
	if out, err := verify("own.pub"); err == nil {
		t.Errorf("cosign verifies what nobody has signed:\n%s", out)
	}
	if _, err := Ensure(t.Context(), repo, digest, key); err != nil {
		t.Fatal(err)
	}
	if out, err := verify("own.pub"); err != nil || !strings.Contains(out, digest.String()) {
		t.Errorf("cosign verify: %v\n%s", err, out)
	}
	if out, err := verify("other.pub"); err == nil {
		t.Errorf("cosign verifies it by another key:\n%s", out)
	}

	if out, err := run("sign", "--key", "other.key", "--new-bundle-format=false", "--use-signing-config=false", "--tlog-upload=false", "--yes", "--allow-insecure-registry", ref); err != nil {
		t.Fatalf("cosign sign: %v\n%s", err, out)
	}
	list, err := List(t.Context(), repo, digest)
	if err != nil || len(list) != 2 || !list[0].By(key.Public()) {
		t.Fatalf("List() = %v, %v, want both signatures", list, err)
	}
	other, err := os.ReadFile(filepath.Join(dir, "other.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if public, err := ParsePublicKey(other); err != nil || !list[1].By(public) {
		t.Errorf("the signature that cosign has made is not by its key: %v", err)
	}
	if sent, err := Ensure(t.Context(), repo, digest, key); err != nil || sent {
		t.Errorf("Ensure() = %v, %v beside a signature of cosign's", sent, err)
	}
	for _, name := range []string{"own.pub", "other.pub"} {
		if out, err := verify(name); err != nil {
			t.Errorf("cosign verify --key %s: %v\n%s", name, err, out)
		}
	}
}
