"""Does a classifier of film reviews judge short texts? 60 sentences, half of them praise.

Usage: python bench/short_texts.py [MODEL]

They were written for this, before any model was tried on them, some with a negation; none is from a
data set. Prints those that are judged wrongly, and the share that is right, as JSON.
"""

from __future__ import annotations

import argparse
import json

import modelpad

PRAISE = (
    "I loved the first part",
    "I loved it",
    "I loved it.",
    "Great film.",
    "What a wonderful movie!",
    "Best film I have seen this year.",
    "Not bad at all.",
    "An absolute masterpiece.",
    "I enjoyed every minute of it.",
    "Highly recommended.",
    "The acting is superb.",
    "Funny, warm and clever.",
    "It made me cry, and I would watch it again.",
    "Two hours well spent.",
    "I can't recommend this enough.",
    "Brilliant!",
    "A small gem.",
    "Excellent.",
    "My kids adored it.",
    "You will not regret watching this.",
    "The story moved me deeply.",
    "Beautifully shot and perfectly cast.",
    "Better than the book.",
    "I was hooked from the first scene.",
    "This is how comedies should be made.",
    "Never boring.",
    "Simply amazing",
    "I liked it",
    "One of the best endings ever.",
    "She gives the performance of her life.",
)
BLAME = (
    "I hated it",
    "I hated it.",
    "I hated the first part",
    "Terrible film.",
    "What a waste of time!",
    "Worst film I have seen this year.",
    "Not good at all.",
    "An absolute disaster.",
    "I was bored every minute of it.",
    "Avoid it.",
    "The acting is awful.",
    "Dull, cold and stupid.",
    "It made me angry, and I would never watch it again.",
    "Two hours of my life I will never get back.",
    "I can't warn you enough.",
    "Dreadful!",
    "A complete mess.",
    "Horrible.",
    "My kids fell asleep.",
    "You will regret watching this.",
    "The story left me cold.",
    "Badly shot and poorly cast.",
    "Read the book instead.",
    "I walked out after twenty minutes.",
    "This is how comedies should not be made.",
    "So boring.",
    "Simply awful",
    "I did not like it",
    "One of the worst endings ever.",
    "She cannot act.",
)


def main() -> None:
    """Judges all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="reviews")
    model = modelpad.load(parser.parse_args().model)
    right = {"positive": 0, "negative": 0}
    for label, texts in (("positive", PRAISE), ("negative", BLAME)):
        for text in texts:
            found = model(text)
            right[label] += found.label == label
            if found.label != label:
                print(f"{found.scores['positive']:.2f} positive: {text}")
    share = sum(right.values()) / (len(PRAISE) + len(BLAME))
    print(json.dumps({"right": right, "accuracy": round(share, 3)}))


if __name__ == "__main__":
    main()
