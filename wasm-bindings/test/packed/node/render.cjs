// The same by `require`.

require("./page.cjs").render(require("react"), require("react-dom/server"), require("syncline"), require("syncline/react"));
console.log("rendered by CommonJS: ok");
