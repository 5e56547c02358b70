package layersim

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Package is a node of a dependency graph.
type Package struct {
	Name      string
	Source    string // what it is built from: all packages of a source change together
	Installed int64  // bytes unpacked; what a narinfo tells as NarSize
	Packed    int64  // bytes compressed; what is pushed and pulled
	Deps      []int  // by index, each below the package's own; sorted
}

// Graph is a dependency graph without cycles, dependencies first.
type Graph struct {
	Name     string
	Packages []Package
}

// ParseGraph reads the text that WriteTo writes: a line for each package, with its
// name, its source, the bytes installed and packed, and the names of what it needs,
// which have lines before. Lines that begin with # are comments.
func ParseGraph(name string, r io.Reader) (Graph, error) {
	g := Graph{Name: name}
	index := make(map[string]int)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		p, err := parsePackage(lines.Text(), index)
		if err != nil {
			return Graph{}, fmt.Errorf("graph %s: line %d: %w", name, n, err)
		}
		index[p.Name] = len(g.Packages)
		g.Packages = append(g.Packages, p)
	}
	return g, lines.Err()
}

func parsePackage(line string, index map[string]int) (Package, error) {
	fields := strings.Fields(line)
	if len(fields) < 4 {
		return Package{}, fmt.Errorf("%q: want a name, a source and two sizes", line)
	}
	p := Package{Name: fields[0], Source: fields[1]}
	if _, twice := index[p.Name]; twice {
		return Package{}, fmt.Errorf("%s is there twice", p.Name)
	}
	for i, to := range []*int64{&p.Installed, &p.Packed} {
		n, err := strconv.ParseInt(fields[2+i], 10, 64)
		if err != nil || n <= 0 {
			return Package{}, fmt.Errorf("%q: want a size in bytes", fields[2+i])
		}
		*to = n
	}
	for _, name := range fields[4:] {
		dep, ok := index[name]
		if !ok {
			return Package{}, fmt.Errorf("%s needs %s, which has no line before", p.Name, name)
		}
		p.Deps = append(p.Deps, dep)
	}
	slices.Sort(p.Deps)
	p.Deps = slices.Compact(p.Deps)
	return p, nil
}

// Write writes the packages as ParseGraph reads them.
func (g Graph) Write(w io.Writer) error {
	for _, p := range g.Packages {
		fields := []string{p.Name, p.Source, strconv.FormatInt(p.Installed, 10), strconv.FormatInt(p.Packed, 10)}
		for _, d := range p.Deps {
			fields = append(fields, g.Packages[d].Name)
		}
		if _, err := fmt.Fprintln(w, strings.Join(fields, " ")); err != nil {
			return err
		}
	}
	return nil
}

// Node is a package of a graph that is to be put in order.
type Node struct {
	Package
	Needs []string // names; Deps counts for nothing
}

// Order makes a graph of what roots need. Where packages need each other in a
// circle, which store paths cannot, the reference that would close it is left out.
func Order(name string, nodes map[string]Node, roots []string) (Graph, error) {
	o := ordering{nodes: nodes, state: make(map[string]int), graph: Graph{Name: name}}
	for _, root := range roots {
		if _, err := o.visit(root); err != nil {
			return Graph{}, err
		}
	}
	return o.graph, nil
}

type ordering struct {
	nodes map[string]Node
	state map[string]int // absent: not visited, open, or the index and one
	graph Graph
}

const open = -1

// visit puts a package and what it needs into the graph; it returns its index, or
// open if it is being visited.
func (o *ordering) visit(name string) (int, error) {
	if at := o.state[name]; at != 0 {
		return max(at-1, open), nil
	}
	node, ok := o.nodes[name]
	if !ok {
		return 0, fmt.Errorf("nothing is known of package %s", name)
	}
	o.state[name] = open
	p := node.Package
	p.Name, p.Deps = name, nil
	for _, need := range slices.Sorted(slices.Values(node.Needs)) {
		at, err := o.visit(need)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		if at != open {
			p.Deps = append(p.Deps, at)
		}
	}
	slices.Sort(p.Deps)
	p.Deps = slices.Compact(p.Deps)
	p.Installed, p.Packed = cmp.Or(p.Installed, 1), cmp.Or(p.Packed, 1)
	o.graph.Packages = append(o.graph.Packages, p)
	o.state[name] = len(o.graph.Packages)
	return len(o.graph.Packages) - 1, nil
}
