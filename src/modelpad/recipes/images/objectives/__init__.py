"""What a model of pictures predicts: one class, any number of labels, or numbers.

`objective` is the contract; `one_class`, `labels` and `values` fulfil it, with the losses in
`losses`. Everything else in the recipe is the same for all of them.
"""
