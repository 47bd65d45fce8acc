//go:build linux

package guest

// mountRequest puts mounts into the running sandbox, in order.
type mountRequest struct {
	Overlays []Overlay
	Binds    []Bind
}

func (a *agent) mount(c conversation, r *mountRequest) error {
	for _, o := range r.Overlays {
		fd, err := a.mounter.overlay(o)
		if err != nil {
			return err
		}
		if err := attach(fd, o.Target); err != nil {
			return err
		}
	}
	for _, b := range r.Binds {
		fd, err := a.mounter.tree(b.Source, b.attributes())
		if err != nil {
			return err
		}
		if err := attach(fd, b.Target); err != nil {
			return err
		}
	}
	return c.send(answer{})
}
