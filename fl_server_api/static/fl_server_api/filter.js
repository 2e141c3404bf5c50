// Finds in a list of choices by what is typed; those that are chosen stay in sight.

for (const input of document.querySelectorAll("[data-filters]")) {
  const choices = document.getElementById(input.dataset.filters).children;
  input.parentElement.hidden = false;
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const choice of choices) {
      const chosen = choice.querySelector("input")?.checked;
      choice.hidden = !chosen && !choice.textContent.toLowerCase().includes(wanted);
    }
  });
}
