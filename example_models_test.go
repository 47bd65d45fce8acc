package seer_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	seer "github.com/ajobi-uhc/seer-go"
)

func ExampleListModels() {
	ctx := context.Background()
	defer played(nil)() // no models are cached in this example

	var total, unused int64
	for model, err := range seer.ListModels(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		total += model.Bytes
		if !model.LastUsed.IsZero() && time.Since(model.LastUsed) > 30*24*time.Hour {
			unused += model.Bytes
			fmt.Println("seer models rm", model.Volume)
		}
	}
	fmt.Printf("%d GiB cached, %d GiB unused for a month\n", total>>30, unused>>30)
	// Output: 0 GiB cached, 0 GiB unused for a month
}

func ExampleDeleteModel() {
	ctx := context.Background()
	defer played(nil)() // no models are cached in this example

	switch err := seer.DeleteModel(ctx, "google/gemma-2-9b"); {
	case err == nil:
		fmt.Println("deleted")
	case errors.Is(err, seer.ErrNotFound):
		fmt.Println("it is not cached")
	default:
		fmt.Println(err)
	}
	// Output: it is not cached
}
