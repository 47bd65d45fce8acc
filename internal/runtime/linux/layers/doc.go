// Package layers keeps what sandboxes stand on: the base made of the host's own
// root file system, layers, images, volumes and the directories of running
// sandboxes, all below one directory that several programs may share.
//
//	bases/FINGERPRINT/   what lies between the host's files and the layers
//	layers/ID/           one layer: _ is the root, usr and so on lie beside it
//	images/ID.json       which layers on what, and how to start processes
//	volumes/ID/          a volume's files
//	sandboxes/ID/        a running sandbox's upper directories; held by a lock
//	building/            what is not finished
//	lock                 held shared to add references, exclusively to remove
//
// A layer of an image on the host's root has a directory for each overlay: the
// root and every top-level directory that lies on one of the host. A layer of a
// pulled image has the root alone.
package layers
