package upload

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/nixpkgs-factory/factory/internal/nix"
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

	mu     sync.Mutex
	over   bool
	active sync.WaitGroup
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
	mux.HandleFunc("GET "+root+"/{file}", o.narInfo)
	mux.HandleFunc("GET "+root+"/nar/{file}", o.nar)
	o.server = &http.Server{
		Handler:     o.counted(mux),
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
	o.mu.Lock()
	o.over = true
	o.mu.Unlock()
	o.stop()
	o.server.Close()
	<-o.stopped
	o.active.Wait()
	var taken []nix.PathInfo
	for _, info := range o.taken {
		taken = append(taken, info)
	}
	return unique(taken), o.broken
}

// counted makes close wait for the requests under way.
func (o *offer) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		if o.over {
			o.mu.Unlock()
			return
		}
		o.active.Add(1)
		o.mu.Unlock()
		defer o.active.Done()
		h.ServeHTTP(w, r)
	})
}

func (o *offer) info(r *http.Request, suffix string) (nix.PathInfo, bool) {
	digest, ok := strings.CutSuffix(r.PathValue("file"), suffix)
	info, known := o.infos[digest]
	return info, ok && known
}

func (o *offer) narInfo(w http.ResponseWriter, r *http.Request) {
	info, ok := o.info(r, ".narinfo")
	if !ok {
		http.NotFound(w, r)
		return
	}
	text, err := nix.NARInfo{PathInfo: info, URL: "nar/" + info.Path.Digest() + ".nar", Compression: "none"}.MarshalText()
	if err != nil {
		o.fail(named(info, err))
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/x-nix-narinfo")
	w.Write(text)
}

func (o *offer) nar(w http.ResponseWriter, r *http.Request) {
	info, ok := o.info(r, ".nar")
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/x-nix-nar")
	w.Header().Set("Content-Length", strconv.FormatInt(info.NarSize, 10))
	if r.Method == http.MethodHead {
		return
	}
	src, err := openNAR(r.Context(), o.objects, info)
	if err != nil {
		o.failUnlessOver(r, err)
		w.Header().Del("Content-Length")
		http.NotFound(w, r) // which Nix does not try again
		return
	}
	defer src.Close()
	if _, err := io.Copy(w, src); err != nil {
		o.failUnlessOver(r, src.broken())
		panic(http.ErrAbortHandler)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.taken[info.Path.Digest()] = info
}

// failUnlessOver takes note of an error that is not just Nix having hung up.
func (o *offer) failUnlessOver(r *http.Request, err error) {
	if r.Context().Err() == nil {
		o.fail(err)
	}
}

func (o *offer) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken == nil {
		o.broken = err
	}
}

// nixCopy runs nix copy from an offer of infos, with further arguments, and
// returns what Nix took. Nix keeps what it writes besides in dir.
func nixCopy(ctx context.Context, dir string, infos []nix.PathInfo, objects Objects, c command) ([]nix.PathInfo, error) {
	o, err := makeOffer(ctx, infos, objects)
	if err != nil {
		return nil, err
	}
	c.name = "nix"
	c.args = append([]string{
		"--extra-experimental-features", "nix-command", "copy", "--no-recursive",
		"--no-check-sigs", // all infos were trusted before, some without a signature: built here, or content-addressed
		"--from", o.url,
	}, c.args...)
	for _, info := range infos {
		c.args = append(c.args, info.Path.String())
	}
	c.env = append(c.env,
		"TMPDIR="+dir,
		"XDG_CACHE_HOME="+filepath.Join(dir, "cache"), // Nix remembers what an address had, and this one will be another's
	)
	for _, name := range []string{"no_proxy", "NO_PROXY"} {
		c.env = append(c.env, name+"="+withLoopback(name))
	}
	err = c.run(ctx)
	taken, broken := o.close()
	if err != nil && broken != nil && !errors.Is(err, ctx.Err()) {
		err = broken
	}
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("copy: %w", err)
	}
	return taken, err
}
