package main

import "context"

// followSize does nothing: Windows sends no signal when a console is resized.
func followSize(context.Context, func()) {}
