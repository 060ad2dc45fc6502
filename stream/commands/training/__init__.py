"""``groundswell train``: a recipe and the stream's own history make a model file, and a card that judges it."""
