package config

import (
	"regexp"
	"strconv"
	"time"
)

const (
	wantEvaluation = "a mapping with timeout or memory"
	wantTimeout    = "a duration from 10s to 24h, such as 10m"
	wantMemory     = "an amount of memory from 256MiB to 1024GiB, such as 4GiB"

	leastMemory = 256 << 20
	mostMemory  = 1024 << 30
)

func (p *parser) evaluation(v value, e *Evaluation) {
	p.mapping(v, wantEvaluation, []field{
		{key: "timeout", decode: func(v value) { e.Timeout = p.duration(v, wantTimeout, 10*time.Second, 24*time.Hour) }},
		{key: "memory", decode: func(v value) { e.Memory = p.memory(v) }},
	})
}

var memoryPattern = regexp.MustCompile(`^([0-9]{1,7})(MiB|GiB)$`)

// memory reads an amount with its unit: without one nobody knows what is meant.
func (p *parser) memory(v value) int64 {
	m := memoryPattern.FindStringSubmatch(v.node.Value)
	if m == nil || v.node.ShortTag() != "!!str" {
		p.wrong(v, wantMemory)
		return 0
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if n <<= 20; m[2] == "GiB" {
		n <<= 10
	}
	if err != nil || n < leastMemory || n > mostMemory {
		p.wrong(v, wantMemory)
	}
	return n
}
