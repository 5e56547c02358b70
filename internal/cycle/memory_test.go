package cycle_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// maxMemory is what the factory may need, whatever the closure.
const maxMemory = 512 << 20

// TestMemory measures the program's peak memory: of cold cycles, on a machine
// with many processors, and for an object larger than the bound.
func TestMemory(t *testing.T) {
	t.Parallel()
	program(t)
	w := newWorld(t, settings{systems: bothSystems})
	p := w.command(nil, "run", "--once")
	p.Env = append(p.Env, "GOMAXPROCS=64")
	p.fits(t, "cold cycle of two channels, 64 processors")

	v := newVictim(t, settings{channels: onlyRelease})
	v.serveHuge(t, 768<<20)
	p = v.command(nil, "run", "--once")
	p.Env = append(p.Env, "GOMAXPROCS=64")
	p.fits(t, fmt.Sprintf("an object of %d MiB, 64 processors", 768))

	p = v.command(nil, "verify", fmt.Sprintf("oci:%s:nixpkgs-%s:latest", v.config.Publish[0].Layout, release))
	p.Env = append(p.Env, "GOMAXPROCS=64")
	p.fits(t, "the image with that object verified, 64 processors")
}

// fits runs the program to its end, and fails the test if it needed too much memory.
func (p *process) fits(t testing.TB, what string) {
	t.Helper()
	p.start(t)
	stopped := make(chan struct{})
	peak := make(chan int64)
	go func() { peak <- p.watch(stopped) }()
	err := p.Wait()
	close(stopped)
	most := <-peak
	if err != nil {
		t.Fatalf("%s: %v\n%s", what, err, &p.stderr)
	}
	t.Logf("%s: peak memory %d MiB", what, most>>20)
	if most == 0 || most > maxMemory {
		t.Errorf("%s: peak memory %d MiB, want at most %d MiB\n%s", what, most>>20, maxMemory>>20, lastLines(p.stderr.String()))
	}
}

// watch reads the process's peak memory, which the kernel keeps, until it has
// ended. The resource usage of a process that has ended will not do: it begins
// with that of the one that started it.
func (p *process) watch(stopped <-chan struct{}) (peak int64) {
	file := fmt.Sprintf("/proc/%d/status", p.Process.Pid)
	for tick := time.NewTicker(2 * time.Millisecond); ; {
		data, _ := os.ReadFile(file) // fails once it has ended
		if _, rest, found := strings.Cut(string(data), "VmHWM:"); found {
			var kib int64
			fmt.Sscan(rest, &kib)
			peak = max(peak, kib<<10)
		}
		select {
		case <-tick.C:
		case <-stopped:
			tick.Stop()
			return peak
		}
	}
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}
