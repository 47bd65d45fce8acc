package plan

import (
	"fmt"
	"slices"
	"strings"
)

// Step is a node of the graph that Start runs. It begins when all that it
// needs is done; what does not need each other runs side by side.
type Step struct {
	ID    string
	Title string // for people, and no other step's; never names a hidden model
	Needs []string
}

// IDs of the steps that there is at most one of.
const (
	StepImage      = "image"
	StepDownloader = "downloader"
	StepCreate     = "create"
	StepFiles      = "files"
	StepDocker     = "docker"
	StepJupyter    = "jupyter"
	StepVSCode     = "vscode"
)

// StepModel is the ID of the step that downloads volume i of the plan.
func StepModel(i int) string { return fmt.Sprintf("model %d", i+1) }

// StepClone is the ID of the step that clones repo i.
func StepClone(i int) string { return fmt.Sprintf("clone %d", i+1) }

// StepInstall is the ID of the step that installs repo i.
func StepInstall(i int) string { return fmt.Sprintf("install %d", i+1) }

// StepContainer is the ID of the step that builds and runs repo i's Dockerfile.
func StepContainer(i int) string { return fmt.Sprintf("container %d", i+1) }

func steps(in Input, volumes []Volume) []Step {
	g := graph{in: in, titles: make(map[string]int)}
	g.add(StepImage, "build image")
	prepared := []string{StepImage}
	if len(volumes) > 0 {
		g.add(StepDownloader, "build downloader image")
	}
	for i, volume := range volumes {
		g.add(StepModel(i), modelTitle(i, volume), StepDownloader)
		prepared = append(prepared, StepModel(i))
	}
	// Last of what costs nothing, first of what bills.
	g.add(StepCreate, "create sandbox", prepared...)
	g.clones(false, StepCreate)
	if len(in.Files) > 0 {
		g.add(StepFiles, "copy files", g.filesNeed()...)
	}
	g.clones(true, StepCreate, StepFiles)
	g.installs()
	if needsDocker(in) {
		g.add(StepDocker, "start Docker", StepCreate)
	}
	for i, repo := range in.Repos {
		if repo.Dockerfile != "" {
			g.add(StepContainer(i), "start container of "+repo.Name, g.strangers(StepDocker, g.ready(i))...)
		}
	}
	if in.Notebook {
		g.add(StepJupyter, "start Jupyter", g.strangers(StepCreate)...)
	}
	if in.VSCode {
		g.add(StepVSCode, "start VS Code", g.strangers(StepCreate)...)
	}
	return g.steps
}

func modelTitle(i int, volume Volume) string {
	if volume.Hidden {
		return fmt.Sprintf("download hidden model %d", i+1)
	}
	return "download " + volume.Repository
}

type graph struct {
	in     Input
	steps  []Step
	titles map[string]int // how often each was wanted
}

func (g *graph) add(id, title string, needs ...string) {
	g.titles[title]++
	if times := g.titles[title]; times > 1 {
		title = fmt.Sprintf("%s (%d)", title, times)
	}
	g.steps = append(g.steps, Step{ID: id, Title: title, Needs: needs})
}

// clones are those that wait for files, or the others.
func (g *graph) clones(waiting bool, needs ...string) {
	for i, repo := range g.in.Repos {
		if g.waitsForFiles(repo) == waiting {
			g.add(StepClone(i), "clone "+repo.Name, needs...)
		}
	}
}

// waitsForFiles: ssh finds its key among the files, unless some of them go into
// the clone.
func (g *graph) waitsForFiles(repo Repo) bool {
	return repo.SSH && len(g.in.Files) > 0 && !g.filesIn(repo)
}

func (g *graph) filesIn(repo Repo) bool {
	return slices.ContainsFunc(g.in.Files, func(m Mount) bool { return strings.HasPrefix(m.Target, repo.Target+"/") })
}

// filesNeed: git refuses to clone into a directory with files in it, so what
// goes into a clone waits for it.
func (g *graph) filesNeed() []string {
	needs := []string{StepCreate}
	for i, repo := range g.in.Repos {
		if g.filesIn(repo) {
			needs = append(needs, StepClone(i))
		}
	}
	return needs
}

// installs run one after the other: package managers do not share an
// environment while they write to it.
func (g *graph) installs() {
	before := ""
	for i, repo := range g.in.Repos {
		if repo.Install == "" {
			continue
		}
		needs := g.strangers(StepClone(i))
		if len(g.in.Files) > 0 {
			needs = append(needs, StepFiles)
		}
		if before != "" {
			needs = append(needs, before)
		}
		before = StepInstall(i)
		g.add(before, "install "+repo.Name, needs...)
	}
}

// strangers are the needs of a step that runs code of others, as installs do
// and servers with packages in them: whatever has such code reads the
// environment of every process, and so the token of a clone that runs beside it.
func (g *graph) strangers(needs ...string) []string {
	for i, repo := range g.in.Repos {
		if clone := StepClone(i); repo.Token && !slices.Contains(needs, clone) {
			needs = append(needs, clone)
		}
	}
	return needs
}

// ready is the step after which repo i is as its container's build wants it.
func (g *graph) ready(i int) string {
	if g.in.Repos[i].Install != "" {
		return StepInstall(i)
	}
	return StepClone(i)
}
