// A dialog needs a name that screen readers can say.
document.querySelector(".md-search[role=dialog]")?.setAttribute("aria-label", "Search");
