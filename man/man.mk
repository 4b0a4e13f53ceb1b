# The completion of tokenctl, and what is installed of this folder.

all: $(BUILD)/completion/tokenctl.bash $(BUILD)/completion/tokenctl.zsh

$(BUILD)/completion/%: man/% man/completion.awk $(BUILD)/tokenctl
	@mkdir -p $(@D)
	@echo '  GEN $@'
	@$(BUILD)/tokenctl --help | awk -f man/completion.awk - $< >$@.new && mv $@.new $@
