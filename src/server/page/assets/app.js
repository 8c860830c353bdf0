document.title = "collab-engine";
