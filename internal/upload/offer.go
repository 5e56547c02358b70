package upload

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/run"
)

// offer is a binary cache on this machine's loopback interface, from which the
// Nix of this machine takes store objects. The NARs come as they are asked for
// and are stored nowhere.
type offer struct {
	url     string
	infos   map[string]nix.PathInfo // by digest
	objects Objects
	server  *http.Server
	stop    context.CancelFunc
	stopped chan struct{}

	serving sync.RWMutex // held by requests under way
	over    bool         // no request is taken any more

	mu     sync.Mutex
	taken  map[string]nix.PathInfo // of which the whole NAR was fetched
	broken error                   // why a NAR could not be given
}

// makeOffer offers infos until close is called. The address cannot be guessed:
// other users of the machine have no business with it.
func makeOffer(ctx context.Context, infos []nix.PathInfo, objects Objects) (*offer, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	o := &offer{
		infos:   make(map[string]nix.PathInfo, len(infos)),
		objects: objects,
		stop:    stop,
		stopped: make(chan struct{}),
		taken:   make(map[string]nix.PathInfo),
	}
	for _, info := range infos {
		o.infos[info.Path.Digest()] = info
	}
	root := "/" + rand.Text()
	o.url = "http://" + l.Addr().String() + root
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+root+"/nix-cache-info", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "StoreDir: "+nix.StoreDir+"\nWantMassQuery: 1\n")
	})
	mux.HandleFunc("GET "+root+"/{file}", o.gives(".narinfo", o.narInfo))
	mux.HandleFunc("GET "+root+"/nar/{file}", o.gives(".nar", o.nar))
	o.server = &http.Server{
		Handler:     mux,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    log.New(io.Discard, "", 0),
	}
	go func() {
		defer close(o.stopped)
		o.server.Serve(l)
	}()
	return o, nil
}

// close ends the offer. When it returns, no NAR is being read. It returns the
// objects that were taken and, if there is one, the reason why one was not given.
func (o *offer) close() ([]nix.PathInfo, error) {
	o.stop()
	o.server.Close()
	<-o.stopped
	o.serving.Lock()
	defer o.serving.Unlock()
	o.over = true
	return unique(slices.Collect(maps.Values(o.taken))), o.broken
}

// gives is the handler of files that store objects have. close waits for it.
func (o *offer) gives(suffix string, give func(http.ResponseWriter, *http.Request, nix.PathInfo)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		o.serving.RLock()
		defer o.serving.RUnlock()
		digest, ok := strings.CutSuffix(r.PathValue("file"), suffix)
		info, known := o.infos[digest]
		if !ok || !known || o.over {
			http.NotFound(w, r)
			return
		}
		give(w, r, info)
	}
}

func (o *offer) narInfo(w http.ResponseWriter, r *http.Request, info nix.PathInfo) {
	text, err := nix.NARInfo{PathInfo: info, URL: "nar/" + info.Path.Digest() + ".nar", Compression: "none"}.MarshalText()
	if err != nil {
		o.fail(r, named(info, err))
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/x-nix-narinfo")
	w.Write(text)
}

func (o *offer) nar(w http.ResponseWriter, r *http.Request, info nix.PathInfo) {
	w.Header().Set("Content-Type", "application/x-nix-nar")
	w.Header().Set("Content-Length", strconv.FormatInt(info.NarSize, 10))
	if r.Method == http.MethodHead {
		return
	}
	src, err := openNAR(r.Context(), o.objects, info)
	if err != nil {
		o.fail(r, err)
		w.Header().Del("Content-Length")
		http.NotFound(w, r) // which Nix does not try again
		return
	}
	defer src.Close()
	if _, err := io.Copy(w, src); err != nil {
		o.fail(r, src.broken())
		panic(http.ErrAbortHandler)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.taken[info.Path.Digest()] = info
}

// fail takes note of an error that is not just Nix having hung up.
func (o *offer) fail(r *http.Request, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken == nil && r.Context().Err() == nil {
		o.broken = err
	}
}

// nixCopy runs nix copy from an offer of infos, with further arguments, and
// returns what Nix took. What Nix keeps besides is in a folder below dir meanwhile.
func nixCopy(ctx context.Context, dir string, infos []nix.PathInfo, objects Objects, c run.Command) ([]nix.PathInfo, error) {
	dir, err := os.MkdirTemp(dir, "nix-copy-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	o, err := makeOffer(ctx, infos, objects)
	if err != nil {
		return nil, err
	}
	c.Name = "nix"
	c.Args = append([]string{
		"--extra-experimental-features", "nix-command", "copy", "--no-recursive",
		"--no-check-sigs", // all infos were trusted before, some without a signature: built here, or content-addressed
		"--from", o.url,
	}, c.Args...)
	for _, info := range infos {
		c.Args = append(c.Args, info.Path.String())
	}
	c.Env = []string{
		"TMPDIR=" + dir,
		"XDG_CACHE_HOME=" + filepath.Join(dir, "cache"), // Nix remembers what an address had, and this one will be another's
	}
	for _, name := range []string{"no_proxy", "NO_PROXY"} {
		c.Env = append(c.Env, name+"="+strings.TrimPrefix(os.Getenv(name)+",127.0.0.1", ","))
	}
	err = execute(ctx, c)
	taken, broken := o.close()
	if err != nil && broken != nil && !errors.Is(err, ctx.Err()) {
		err = broken
	}
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("copy: %w", err)
	}
	return taken, err
}
