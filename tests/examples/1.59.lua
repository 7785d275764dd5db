-- event callback function implemented in Lua
function ksr_dialog_event(evname)
        KSR.info("===== dialog module triggered event: " .. evname .. "\n");
        return 1;
end
