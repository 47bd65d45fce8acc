package seer

import (
	"maps"
	"strings"
	"time"
)

// Prices are what a backend asks for, in US dollars, for the estimates of
// [SandboxConfig.Plan] and for what a Budget pays. [WithPrices] replaces them.
type Prices struct {
	AsOf   string              // when they were published, as YYYY-MM
	Source string              // where, and what they leave out
	GPUs   map[string]GPUPrice // by the type in capitals; a type that is missing has no estimate

	CPU       float64 // for a core and second
	MemoryGiB float64 // for a GiB and second

	DefaultCPU       float64 // cores that are billed when a config names none
	DefaultMemoryMiB int     // likewise
}

// GPUPrice is the price of one GPU, and how large a model it holds.
type GPUPrice struct {
	PerSecond float64
	MemoryGiB float64
}

// ListPrices are Modal's public list prices for sandboxes as they were
// published last when this version of the SDK was made. Check them: prices
// change, and plans, regions and credits change what you pay.
func ListPrices() Prices {
	return Prices{
		AsOf:   "2026-06",
		Source: "Modal's list prices for sandboxes, without region multipliers, plans and credits",
		GPUs: map[string]GPUPrice{
			"B200":      {PerSecond: 0.001736, MemoryGiB: 180},
			"H200":      {PerSecond: 0.001261, MemoryGiB: 141},
			"H100":      {PerSecond: 0.001097, MemoryGiB: 80},
			"A100":      {PerSecond: 0.000583, MemoryGiB: 40},
			"A100-40GB": {PerSecond: 0.000583, MemoryGiB: 40},
			"A100-80GB": {PerSecond: 0.000694, MemoryGiB: 80},
			"L40S":      {PerSecond: 0.000542, MemoryGiB: 48},
			"A10":       {PerSecond: 0.000306, MemoryGiB: 24},
			"A10G":      {PerSecond: 0.000306, MemoryGiB: 24},
			"L4":        {PerSecond: 0.000222, MemoryGiB: 24},
			"T4":        {PerSecond: 0.000164, MemoryGiB: 16},
		},
		CPU:              0.00003942,
		MemoryGiB:        0.00000672,
		DefaultCPU:       0.125,
		DefaultMemoryMiB: 128,
	}
}

// WithPrices replaces [ListPrices], for the estimates of a plan and for what a
// Budget pays. With it the local backend is no longer free.
func WithPrices(prices Prices) Option {
	prices.GPUs = maps.Clone(prices.GPUs)
	return func(o *options) { o.prices = &prices }
}

// settlePrices says what the backend asks for where the user has not; nil = nothing.
func (o *options) settlePrices(local bool) {
	if o.prices == nil && !local {
		prices := ListPrices()
		o.prices = &prices
	}
}

func (p Prices) gpu(name string) (GPUPrice, bool) {
	price, known := p.GPUs[strings.TrimRight(strings.ToUpper(name), "!+")] // exactly it, or better
	return price, known
}

// perSecond is what a sandbox costs; false when its GPU has no price.
func (p Prices) perSecond(c SandboxConfig) (float64, bool) {
	setDefault(&c.CPU, p.DefaultCPU)
	setDefault(&c.MemoryMiB, p.DefaultMemoryMiB)
	cost := c.CPU*p.CPU + float64(c.MemoryMiB)/1024*p.MemoryGiB
	if c.GPU == "" {
		return cost, true
	}
	gpu, known := p.gpu(c.GPU)
	return cost + float64(c.GPUCount)*gpu.PerSecond, known
}

// pays is how long a budget lasts, in whole seconds; false when the GPU has no
// price. p may be nil: what is free lasts as long as a sandbox can.
func (p *Prices) pays(c SandboxConfig) (time.Duration, bool) {
	if p == nil {
		return maxTimeout, true
	}
	rate, known := p.perSecond(c)
	if !known {
		return 0, false
	}
	if c.Budget >= rate*maxTimeout.Seconds() {
		return maxTimeout, true
	}
	return time.Duration(c.Budget/rate) * time.Second, true
}

// lifetime is how long a sandbox of a valid config lives at most.
func (c SandboxConfig) lifetime(prices *Prices) time.Duration {
	c = c.withDefaults()
	if c.Budget > 0 {
		if paid, known := prices.pays(c); known {
			c.Timeout = min(c.Timeout, paid)
		}
	}
	return c.Timeout
}

// downloadRate is what a download of models is assumed to reach, in bytes a
// second, and prepareTime what a sandbox takes to be made and set up.
const (
	downloadRate = 200e6
	prepareTime  = time.Minute
)
