// Package modelcache keeps models on volumes: which volume holds which model,
// how to tell that it is complete, and how to get it there exactly once
// however many programs ask for it at the same time.
//
// It knows neither Modal nor processes; see [Store] and [Writers].
package modelcache

import (
	"cmp"
	"regexp"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
)

// Model is what a program wants to have: one model at one revision.
type Model struct {
	ID string // "google/gemma-2-9b", as it was declared
	// Repository is what the hub calls it now, which names its volume; "" = ID.
	Repository string
	Revision   string // branch, tag or commit; "" = main
	Include    []string
	Exclude    []string
	// Hidden keeps the model's id, organisation and repository name out of the
	// volume, its name and its mount path. What loading takes stays: model_type,
	// architectures and the like, the names of tensors, and the vocabulary.
	Hidden  bool
	Conceal []string // with Hidden: further models not to be named in its files, such as its base
}

// Label is how messages and events call a model: by its id, unless it is
// hidden.
func (m Model) Label() string {
	if m.Hidden {
		return "hidden model"
	}
	return m.ID
}

func (m Model) revision() string { return cmp.Or(m.Revision, "main") }

func (m Model) filter() huggingface.Filter {
	return huggingface.Filter{Include: m.Include, Exclude: m.Exclude, NoDocs: m.Hidden}
}

func (m Model) repository() string { return cmp.Or(m.Repository, m.ID) }

// concealed lists the ids that the model's files may not contain.
func (m Model) concealed() []string {
	if !m.Hidden {
		return nil
	}
	ids := append([]string{m.ID}, m.Conceal...)
	if m.repository() != m.ID {
		ids = append(ids, m.repository())
	}
	return ids
}

var commitHash = regexp.MustCompile(`^[0-9a-f]{40}$`)

// IsCommit reports whether a revision is a commit, which never changes.
func IsCommit(revision string) bool { return commitHash.MatchString(revision) }
